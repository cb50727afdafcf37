"""The causes: what a fault, a hazard or a note is due to, why it matters, and how to mend it.

A cause id is stable: programs may rely on it. The sentences are for the people who wrote the layer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """``what`` is wrong, in words that go before the figures; ``mend`` says why it matters and what to do."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what} {self.mend}"


CAUSES: dict[str, Cause] = {
    # ------------------------------------------------------------------ it does not run
    "raises": Cause("A call raises.", "The message of the exception says where; nothing else could be checked."),
    "misspelt_method": Cause(
        "A method has another name than it is called by.", "Layers are called by forward and backward: rename it."
    ),
    "undefined_name": Cause(
        "A name does not exist.", "What belongs to the layer is read from self: self.b, not b; or it is misspelt."
    ),
    "missing_import": Cause("An import is missing.", "Write it at the top of the file."),
    "attribute_never_set": Cause(
        "An attribute is read that nothing has set.", "What backward needs is kept in forward: self.out = out."
    ),
    "returns_none": Cause("A call returns None.", "The last line of forward and of backward is a return."),
    "refuses_corner": Cause(
        "A corner is refused with an exception.", "That is honest; support it if your data can contain it."
    ),
    # ------------------------------------------------------------------ factors
    "wrong_sign": Cause(
        "The sign is wrong.", "Training would climb instead of descend: check each minus of the formula."
    ),
    "multiplied_by_batch_size": Cause(
        "It is N times what it should be, N the size of the batch.", "The loss is a mean over the batch: divide by N."
    ),
    "divided_by_batch_size": Cause(
        "It is 1/N of what it should be, N the size of the batch.",
        "The loss has divided by N already, and dout brings that along; in a design where the loss sums and each layer "
        "averages it would be right (oracle check --reduction layer).",
    ),
    "multiplied_by_batch_size_squared": Cause(
        "It is N² times what it should be, N the size of the batch.", "Divide by N once where the loss does."
    ),
    "divided_by_batch_size_squared": Cause(
        "It is 1/N² of what it should be, N the size of the batch.", "Something divides by N twice."
    ),
    "multiplied_by_classes": Cause(
        "It is C times what it should be, C the number of classes.", "Cross-entropy sums over the classes of a row."
    ),
    "divided_by_classes": Cause(
        "It is 1/C of what it should be, C the number of classes.",
        "A mean over all entries divides by N·C: divide by N alone.",
    ),
    "multiplied_by_features": Cause(
        "It is D times what it should be, D the number of features.", "Do not multiply by D."
    ),
    "divided_by_features": Cause(
        "It is 1/D of what it should be, D the number of features.", "A mean over features is a sum here."
    ),
    "doubled": Cause("It is twice what it should be.", "A factor 2 is left over: the ½ of a squared error is missing."),
    "halved": Cause("It is half of what it should be.", "A factor ½ is left over."),
    "constant_factor": Cause(
        "Every entry is off by the same factor.", "Look for a constant that one pass has and the other lacks."
    ),
    # ------------------------------------------------------------------ shape and sums
    "transposed": Cause("It is transposed.", "Exchange the factors of the product: dW = xᵀ dout, dx = dout Wᵀ."),
    "not_summed_over_the_batch": Cause(
        "It is not summed over the batch.", "Each row adds to the same parameter: db = dout.sum(axis=0)."
    ),
    "summed_over_the_wrong_axis": Cause(
        "It is summed over the wrong axis.", "db has an entry for each output: sum over the rows, axis=0."
    ),
    "extra_axis": Cause(
        "It has an axis too many.", "Give it the shape of what it is the gradient of: leave out keepdims."
    ),
    "wrong_shape": Cause("Its shape is wrong.", "A gradient has the shape of what it is the gradient of."),
    # ------------------------------------------------------------------ the upstream gradient
    "upstream_gradient_ignored": Cause(
        "The upstream gradient is ignored.", "It is right for dout = 1 only: multiply by dout."
    ),
    "upstream_gradient_squared": Cause("The upstream gradient is multiplied in twice.", "Multiply by dout once."),
    "passes_upstream_gradient_on": Cause(
        "It is the upstream gradient as it came.", "The local derivative is missing: dx = dout · ∂y/∂x."
    ),
    "mask_from_upstream_gradient": Cause(
        "The mask is taken from dout.", "Where the gradient passes is decided by x in forward: keep the mask of x."
    ),
    "gradient_is_zero": Cause("It is 0 everywhere.", "It is never computed, or computed and overwritten."),
    # ------------------------------------------------------------------ terms
    "term_1_minus_y_missing": Cause("The factor (1 − y) is missing.", "The derivative of a sigmoid is y · (1 − y)."),
    "term_y_missing": Cause("The factor y is missing.", "The derivative of a sigmoid is y · (1 − y)."),
    "square_missing": Cause("It has 1 − y for 1 − y².", "The derivative of tanh is 1 − y²."),
    "diagonal_only": Cause(
        "Only the diagonal of the Jacobian is taken.",
        "Every output depends on every input: for softmax dx = y · (dout − Σ dout · y), the sum over a row.",
    ),
    "input_for_output": Cause("It has x · (1 − x) for y · (1 − y).", "The derivative takes the output, y."),
    "parameter_unused": Cause(
        "A parameter is not used.", "Check for a global variable of the same name: self.b, not b."
    ),
    "wrong_sign_in_exponent": Cause("It is the function of −x.", "Check the sign in the exponent."),
    "normalised_over_the_whole_batch": Cause(
        "Softmax is normalised over the whole batch.",
        "Each row sums to 1: sum over the classes, axis=-1, keepdims=True.",
    ),
    "normalised_over_the_wrong_axis": Cause(
        "Softmax is normalised over the rows instead of the classes.", "Sum over the classes, axis=-1, keepdims=True."
    ),
    "added_inside_logarithm": Cause(
        "Something is added inside the logarithm.",
        "The loss is then another function than the one whose gradient is (y − t)/N: take the logarithm of y itself, "
        "by log-sum-exp of the scores.",
    ),
    "loss_is_not_what_backward_differentiates": Cause(
        "Backward is the derivative of another function than forward computes.",
        "Such as log(y + 1e-7) with the gradient of log(y): add nothing inside the logarithm, use log-sum-exp.",
    ),
    # ------------------------------------------------------------------ only sometimes
    "only_for_labels": Cause("Only for targets given as label indices.", "The branch for labels is wrong."),
    "only_for_one_hot": Cause("Only for one-hot targets.", "The branch for one-hot targets is wrong."),
    "only_for_soft_targets": Cause(
        "Only for soft targets.", "They need not be 0 and 1, nor sum to 1: dx = (y · Σt − t)/N."
    ),
    "only_for_a_batch_of_one": Cause(
        "Only for a batch of one row.", "A row is taken for a sample, or an axis is squeezed."
    ),
    "only_for_a_single_sample": Cause("Only for a single sample without a batch axis.", "Its length is taken for N."),
    "only_for_other_layouts": Cause(
        "Only for arrays that are not contiguous.", "Memory is read in its own order: use the array's own axes."
    ),
    "only_when_labels_repeat": Cause(
        "Only when two rows have the same label.", "Fancy assignment writes once where it should add: np.add.at."
    ),
    "only_for_integers": Cause("Only for integer input.", "Convert it to floating point first."),
    "only_beyond_30": Cause("Only where |x| > 30.", "Something saturates or is clipped there."),
    "only_at_zero": Cause("Only where x is exactly 0.", "A comparison takes the other branch there."),
    "single_entry": Cause("A single entry is wrong.", "An index or a loop misses it."),
    "single_row": Cause("A single row is wrong.", "An index or a loop misses it."),
    # ------------------------------------------------------------------ digits
    "single_precision_inside": Cause(
        "It is computed in float32 inside.", "Half of the digits of float64 are lost: keep the dtype of the arguments."
    ),
    "half_precision_inside": Cause("It is computed in float16 inside.", "Keep the dtype of the arguments."),
    "difference_of_nearly_equal_numbers": Cause(
        "It loses digits that the function has: a difference of numbers that are nearly equal.",
        "Where y is nearly 1, 1 − y has few digits left: it has all of them if it comes from exp(−|x|), before the "
        "rounding of y.",
    ),
    "integers_inside": Cause(
        "Its fractions are cut off: it is computed in integers.", "Give arrays a floating dtype: np.zeros(x.shape)."
    ),
    "overflows": Cause("It overflows where the function is finite.", "Use a form whose exponents are never positive."),
    "logarithm_of_zero": Cause(
        "It takes the logarithm of a probability that has underflowed to 0.",
        "Take the logarithm of the sum instead (log-sum-exp): add nothing inside it.",
    ),
    # ------------------------------------------------------------------ properties
    "lacks_a_property": Cause("It lacks a property of the definition.", "The check of that name says which."),
    "certificate_fails": Cause(
        "The gradients together are not the derivative along a random direction.",
        "The wrong entries are listed, or their pattern.",
    ),
    "reference_differs": Cause(
        "The references do not agree.", "The forward is another function, or a reference is off."
    ),
    "autograd_is_off": Cause("PyTorch is the one that is off.", "The definition in high precision says so."),
    "numerical_is_off": Cause(
        "The numerical gradient is the one that is off.", "The definition in high precision says so."
    ),
    # ------------------------------------------------------------------ hazards
    "dout_overwritten": Cause(
        "Backward writes into dout.",
        "Whoever adds up or reuses the upstream gradient afterwards gets another one: copy it first "
        "(dx = dout.copy()).",
    ),
    "input_overwritten": Cause("Forward writes into its input.", "It belongs to the caller: copy it first."),
    "parameter_overwritten": Cause("A parameter is written.", "Updating it is the optimiser's part."),
    "accumulates_over_calls": Cause(
        "A second backward adds to the gradients of the first.", "Assign the gradient instead of adding to it."
    ),
    "stale_cache": Cause(
        "Backward answers for an earlier forward.", "Whatever forward keeps must be replaced at every call."
    ),
    "state_shared_between_instances": Cause(
        "Instances share state.", "An attribute of the class, or a global, is used for what belongs to self."
    ),
    "earlier_result_overwritten": Cause(
        "A result given out earlier is overwritten by the next call.", "Give out a new array every time."
    ),
    "loss_ignores_dout": Cause(
        "Backward of a loss ignores dout.",
        "It is right where dout is 1, but the loss cannot be weighted or be a part of another: multiply by dout.",
    ),
    "assigned_parameters_unused": Cause(
        "Assigning to params[...] trains nothing.",
        "The layers keep the old array; copy the values into it (params[name][...] = values).",
    ),
    "own_numerical_gradient_wrong": Cause(
        "The network's own numerical_gradient is off.", "Central differences of the loss, in float64."
    ),
    # ------------------------------------------------------------------ the training loop
    "targets_of_other_samples": Cause(
        "Samples and targets do not belong together.", "Draw the indices of a batch once and take both with them."
    ),
    "divided_by_full_batch_size": Cause(
        "It is divided by the size of a full batch where the batch is shorter.",
        "The last batch of an epoch is what is left: divide by the number of its rows, len(x).",
    ),
    "gradient_of_an_earlier_step": Cause(
        "It is the gradient of the step before.", "Compute it at the parameters and the batch of this step."
    ),
    "updated_before_the_gradient": Cause(
        "A layer is updated before the gradient has passed through it.",
        "The layers below then get their gradients through weights that the loss was not computed with: compute all "
        "gradients first, then update.",
    ),
    "wrong_learning_rate": Cause(
        "The step is not the gradient times the learning rate, but times another number.",
        "A rate that decays, or that is given in two places, is a setting: say which one is meant.",
    ),
    "momentum_in_the_update": Cause(
        "A part of the step before is added to the step.",
        "That is momentum, another method than gradient descent: leave it out, or compare with that method.",
    ),
    "weight_decay_in_the_update": Cause(
        "A part of the parameters themselves is subtracted in the update.",
        "That is weight decay, a loss with a penalty: add the penalty to the loss, or leave it out.",
    ),
    "parameter_never_updated": Cause(
        "A parameter is not updated.", "Go through all of params, biases included, and not through a list of names."
    ),
    # ------------------------------------------------------------------ notes
    "result_shares_memory": Cause(
        "A result shares memory.", "Whoever writes into one changes the other; a copy would be safe (return y.copy())."
    ),
    "backward_before_forward_answers": Cause("Backward before any forward answers.", "It should raise."),
    "dtype_promoted": Cause(
        "A result has another dtype than the arguments.", "It costs memory and time, not correctness."
    ),
    "kink_convention": Cause(
        "Another convention than PyTorch's where the derivative does not exist.",
        "Any value between the two slopes is right.",
    ),
}
