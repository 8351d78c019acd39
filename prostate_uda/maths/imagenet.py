"""Floor 1: the colours that networks trained on ImageNet expect."""

MEAN = (0.485, 0.456, 0.406)
SD = (0.229, 0.224, 0.225)
"""Of red, green and blue in [0, 1] over ImageNet, as torchvision's weights expect them."""
