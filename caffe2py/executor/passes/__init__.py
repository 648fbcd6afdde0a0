"""NetDef in, NetDef out: the same answers in less time or less memory."""
