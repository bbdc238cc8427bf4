"""ENet (Paszke et al. 2016): the network, its model file, and its forms for inference."""
