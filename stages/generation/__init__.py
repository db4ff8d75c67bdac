"""Ask engines for answers, margins and times, and keep each one once it is finished."""
