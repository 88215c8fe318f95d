"""What belongs to weights and lies beside them."""
