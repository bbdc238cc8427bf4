"""ENet (Paszke et al. 2016) and SegNet, its baseline: the networks, their model file, and their forms for inference."""
