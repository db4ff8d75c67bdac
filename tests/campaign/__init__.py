"""Kill campaign: runs with scripted servers, disturbed by signals until each has ended well.

`python -m tests.campaign --events 200 --seed 1` prints what became of the events, by target and
signal, and keeps the checkouts of runs that went wrong. Events are drawn from the seed; what they
find under way depends on the machine's speed too.
"""
