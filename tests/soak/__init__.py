"""Many requests to one server: some streamed, some left by their client, engines killed between."""
