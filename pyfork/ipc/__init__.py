"""What crosses the fork: the handoff, the words on the pipes, the scoreboard, the exit statuses."""
