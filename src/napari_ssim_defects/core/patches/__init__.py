"""What a training learns from: defect-free areas, and patches cut from them."""
