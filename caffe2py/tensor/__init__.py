"""What a blob holds: data types, tensors, devices. Knows no operator."""
