"""A module to be patched; nothing calls what is put here."""
