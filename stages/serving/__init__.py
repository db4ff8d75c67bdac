"""Serve a pair's methods to clients of OpenAI's API."""

KEY = "RELAYGEN_API_KEY"  # the variable with the server's key
