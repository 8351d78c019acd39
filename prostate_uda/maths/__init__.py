"""Floor 1: the equations, as pure functions of tensors."""
