"""Commands as they are typed: names, options, help. What they do is in the modules beside."""
