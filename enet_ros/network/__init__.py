"""ENet (Paszke et al. 2016) and its baseline SegNet: the networks, their model files and their forms for inference."""
