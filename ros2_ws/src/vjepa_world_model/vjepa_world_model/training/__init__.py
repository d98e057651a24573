"""Training of encoder and predictor on recorded episodes; started by `./run train`."""
