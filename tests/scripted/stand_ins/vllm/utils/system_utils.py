"""Where the real server lets the project say how its engine starts."""
