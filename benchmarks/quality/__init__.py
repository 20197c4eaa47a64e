"""The GAN speedrun: seconds of training to a stated Frechet distance.

Fixed data, target, extractor and card; any networks and rule. Two racers take turns of a few
seconds on the same machine, so that its noise meets both; after every turn its generator is
measured, and the clock stands meanwhile. Images lie in memory for both.
"""
