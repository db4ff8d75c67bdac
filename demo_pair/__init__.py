"""The bundled model pair: its task, its tokenizer and how it was trained."""
