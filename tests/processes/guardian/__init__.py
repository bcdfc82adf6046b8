"""Node and guardian as processes, against exchanges of our own in their real protocols."""
