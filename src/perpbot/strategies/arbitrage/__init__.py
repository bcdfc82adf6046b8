"""Buy where a perpetual is cheap, sell where it is dear, leave when the gap closes."""
