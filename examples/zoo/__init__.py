"""The chart of networks: one small file each, in the order of the course.

`python examples/zoo.py` runs them all and draws them into one picture. Each file has a function
`learn(run) -> Found`: the network learns its task and says what it reached and how to draw it.
"""

NETWORKS = [
    "perceptron", "feed_forward", "radial_basis", "deep_feed_forward",
    "recurrent", "lstm", "gru",
    "auto_encoder", "variational", "denoising", "sparse",
    "markov_chain", "hopfield", "boltzmann", "restricted_boltzmann", "deep_belief",
    "deep_convolutional", "deconvolutional", "deep_convolutional_inverse_graphics",
    "generative_adversarial", "liquid_state_machine", "extreme_learning_machine", "echo_state",
    "deep_residual", "kohonen", "support_vector", "neural_turing_machine",
]  # fmt: skip
