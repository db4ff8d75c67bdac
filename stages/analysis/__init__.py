"""Grade answers, mine cues, and work out tables and figures."""
