"""What a restart would find and do, told before it is done."""
