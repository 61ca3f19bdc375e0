"""Right and wrong answers to the exercises of the tenth notebook."""

import keras
import numpy as np

layers = keras.layers


def of_formula(norm):
    gamma, beta, mean, variance = (v.numpy() for v in (norm.gamma, norm.beta, *norm.non_trainable_variables))
    return mean - beta * (variance + norm.epsilon) ** 0.5 / gamma


def of_two_pixels(norm):
    at = [norm(np.full((1, 1, 1, 3), value)).numpy()[0, 0, 0] for value in (0.0, 1.0)]
    return list(at[0] / (at[0] - at[1]))


def read(norm, epsilon=1e-3):
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale


def folded(weight, bias, gamma, beta, mean, variance, epsilon):
    root = np.sqrt(variance + epsilon)
    return weight * (gamma / root).reshape(-1, 1, 1, 1), (bias - mean) / root * gamma + beta


def folded_in_a_loop(weight, bias, g, b, m, v, eps):
    weight, bias = weight.copy(), bias.copy()
    for o in range(len(bias)):
        scale = g[o] * (v[o] + eps) ** -0.5
        weight[o] *= scale
        bias[o] = scale * bias[o] + b[o] - scale * m[o]
    return [weight, bias]


def other_axis(shape):
    def wrong(weight, *more):
        ratio = folded(np.ones_like(weight), *more)[0][:, 0, 0, 0]
        return weight * ratio.reshape(shape), folded(weight, *more)[1]

    return wrong


def other_bias(bias_of):
    return lambda w, bias, g, b, m, v, e: (
        folded(w, bias, g, b, m, v, e)[0],
        bias_of(bias, g * (v + e) ** -0.5, b, m),
    )


def statistics(of):
    return lambda w, bias, g, b, m, v, e: folded(w, bias, *of(g, b, m, v, e))


def tripled_depthwise():
    return layers.DepthwiseConv2D(1, depthwise_initializer=keras.initializers.Constant(3.0))


ANSWERS = {
    "forgotten_epsilon": {
        "right": [1e-3 / 3, 0.00033, np.float64(3.333e-4)],
        "wrong": {
            "root forgotten": 1e-3,
            "epsilon alone": 0.00025,
            "standard deviation": 0.0183,
            "PyTorch's epsilon": 3.33e-6,
            "wrong type": "small",
        },
    },
    "rim": {
        "right": [of_formula, of_two_pixels],
        "wrong": {
            "minus the shift": lambda norm: -read(norm)[1],
            "sign lost": lambda norm: read(norm)[1] / read(norm)[0],
            "the mean": lambda norm: norm.moving_mean.numpy(),
            "epsilon forgotten": lambda norm: -read(norm, 0)[1] / read(norm, 0)[0],
            "gamma forgotten": lambda norm: (
                norm.moving_mean - norm.beta * (norm.moving_variance + norm.epsilon) ** 0.5
            ).numpy(),
            "wrong shape": lambda norm: of_formula(norm)[0],
        },
    },
    "fold_torch": {
        "right": [folded, folded_in_a_loop],
        "wrong": {
            "Keras's axis": other_axis((3,)),
            "input features": other_axis((3, 1, 1)),
            "bias not scaled": other_bias(lambda bias, scale, beta, mean: bias + beta - scale * mean),
            "bias dropped": other_bias(lambda bias, scale, beta, mean: beta - scale * mean),
            "epsilon forgotten": statistics(lambda g, b, m, v, e: (g, b, m, v, 0)),
            "Keras's epsilon": statistics(lambda g, b, m, v, e: (g, b, m, v, 0.001)),
            "epsilon outside the root": statistics(lambda g, b, m, v, e: (g, b, m, (v**0.5 + e) ** 2, 0)),
            "gamma forgotten": statistics(lambda g, b, m, v, e: (1, b, m, v, e)),
            "wrong type": lambda *given: folded(*given)[0],
        },
    },
    "may_stand_between": {
        "right": [
            layers.AveragePooling2D(2),
            layers.Cropping2D(1),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.GlobalAveragePooling2D(),
            lambda x: x[:, ::-1],
        ],
        "wrong": {
            "does nothing": layers.Dropout(0.5),
            "chance": lambda x: layers.Dropout(0.5)(x, training=True),
            "features mixed": layers.Conv2D(3, 1),
            "gamma negative": layers.MaxPooling2D(2),
            "zeros of its own": layers.ZeroPadding2D(1),
            "another scale": tripled_depthwise(),
            "another shift": layers.Rescaling(1.0, offset=0.5),
            "an activation": layers.ReLU(),
            "other features": layers.Flatten(),
            "not for images": layers.AveragePooling1D(2),
            "a class": layers.AveragePooling2D,
            "no layer": 3,
        },
    },
}
