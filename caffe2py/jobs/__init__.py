"""Jobs: nets written in blocks, tasks on nodes, sessions that run them, and checkpoints."""
