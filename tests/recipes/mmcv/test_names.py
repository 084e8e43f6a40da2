"""Names of ``mmcv.runner``: what is there, and what is said of the others."""

from __future__ import annotations

import importlib

import pytest

import footplate.recipes.mmcv as mmcv

# all that `mmcv.runner` and `mmcv.runner.hooks` of MMCV 1.7.2 have in `__all__`
_THEIRS = """
    BaseModule BaseRunner CheckpointHook CheckpointLoader ClearMLLoggerHook ClosureHook
    CosineAnnealingLrUpdaterHook CosineAnnealingMomentumUpdaterHook CosineRestartLrUpdaterHook
    CyclicLrUpdaterHook CyclicMomentumUpdaterHook DefaultOptimizerConstructor
    DefaultRunnerConstructor DistEvalHook DistSamplerSeedHook DvcliveLoggerHook EMAHook
    EmptyCacheHook EpochBasedRunner EvalHook ExpLrUpdaterHook FixedLrUpdaterHook
    FlatCosineAnnealingLrUpdaterHook Fp16OptimizerHook GradientCumulativeFp16OptimizerHook
    GradientCumulativeOptimizerHook HOOKS Hook InvLrUpdaterHook IterBasedRunner IterLoader
    IterTimerHook LinearAnnealingLrUpdaterHook LinearAnnealingMomentumUpdaterHook LogBuffer
    LoggerHook LossScaler LrUpdaterHook MlflowLoggerHook ModuleDict ModuleList
    MomentumUpdaterHook NeptuneLoggerHook OPTIMIZERS OPTIMIZER_BUILDERS OneCycleLrUpdaterHook
    OneCycleMomentumUpdaterHook OptimizerHook PaviLoggerHook PolyLrUpdaterHook Priority
    ProfilerHook RUNNERS Runner SegmindLoggerHook Sequential StepLrUpdaterHook
    StepMomentumUpdaterHook SyncBuffersHook TensorboardLoggerHook TextLoggerHook WandbLoggerHook
    _load_checkpoint _load_checkpoint_with_prefix allreduce_grads allreduce_params auto_fp16
    build_optimizer build_optimizer_constructor build_runner force_fp32 get_dist_info
    get_host_info get_priority get_time_str init_dist load_checkpoint load_state_dict
    master_only obj_from_dict save_checkpoint set_random_seed weights_to_cpu wrap_fp16_model
"""
NAMES = _THEIRS.split()


def found(name):
    """What has the name, or the error that says what to take."""
    try:
        return getattr(mmcv, name)
    except ImportError as error:
        return error


@pytest.mark.covers("B6")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_mmcv_is_there_or_says_what_to_take_in_its_place(name):
    one = found(name)
    if isinstance(one, ImportError):
        assert str(one).startswith(f"{name} is not here; in its place: ")
    else:
        assert name in mmcv.__all__


def test_an_import_shows_what_to_take():
    with pytest.raises(ImportError, match="auto_fp16 is not here; in its place: Fp16OptimizerHook"):
        from footplate.recipes.mmcv import auto_fp16  # noqa: F401
    with pytest.raises(AttributeError, match="Did you mean 'StepLrUpdaterHook'"):
        mmcv.StepLrUpdatrHook  # noqa: B018


def test_the_names_are_those_of_mmcv():
    theirs = pytest.importorskip("mmcv.runner", reason="MMCV 1.7 is not installed")
    if not hasattr(theirs, "EpochBasedRunner"):
        pytest.skip("this MMCV has no runners")
    hooks = importlib.import_module("mmcv.runner.hooks")
    assert sorted(NAMES) == sorted({*theirs.__all__, *hooks.__all__})


def test_the_first_process_is_the_master():
    assert mmcv.master_only(divmod)(7, 2) == (3, 1)
    assert mmcv.master_only(divmod).__name__ == "divmod"


def test_policies_have_their_bounds_by_mmcvs_names():
    step = mmcv.StepLrUpdaterHook([2], 0.5, 0.03)
    assert (step.step, step.gamma, step.min_lr) == ([2], 0.5, 0.03)
    assert mmcv.StepLrUpdaterHook(2).gamma == 0.1
    assert mmcv.StepMomentumUpdaterHook(2, min_momentum=0.3).min_momentum == 0.3
    assert mmcv.CosineAnnealingLrUpdaterHook(min_lr_ratio=0.1).min_lr_ratio == 0.1
    with pytest.raises(TypeError, match="min_momentum"):
        mmcv.StepLrUpdaterHook([2], min_momentum=0.1)
