"""What an operator is: schema, inference, gradient rule, and its kernels by device."""
