"""What ModelHelper and brew are made of: parameters, their initializers, and layers."""
