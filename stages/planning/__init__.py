"""What a run would do and take, before anything is started."""
