"""What we may do: four layers, three gates, and a reason for every refusal."""
