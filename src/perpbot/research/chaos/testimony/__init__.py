"""What the witness knows, one part for each thing it watches; nothing here is the node's."""
