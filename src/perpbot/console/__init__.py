"""What people see: state, read API, terminal."""
