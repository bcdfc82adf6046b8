"""What we talk about: pure values without behaviour of their own. No input or output, no clock."""
