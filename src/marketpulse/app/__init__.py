"""What a person starts: the processes, the supervisor over them, and the command line."""
