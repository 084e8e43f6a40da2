"""What of pytorch-ignite works on our engine, and how; the tests find out whether that is so.

The tables in ``docs/ignite.md`` are made of this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

WORKS, BRIDGED, UNTRIED, NO_PART = "works", "works by bridge", "not tried", "no part of a run"


class Group(NamedTuple):
    """Classes and functions of which the same was found.

    Attributes:
        about: what they are for.
        names: their names in ignite.metrics or ignite.handlers, with the module before them where
            they are not exported.
        how: one of the words above.
        needs: the package that they need beyond those that come with Footplate, if any.
        why: what is to be known besides.
    """

    about: str
    names: tuple[str, ...]
    how: str = WORKS
    needs: str = ""
    why: str = ""


def by_name(groups: Iterable[Group]) -> dict[str, Group]:
    """The group of each name; none is in two."""
    found: dict[str, Group] = {}
    for group in groups:
        for name in group.names:
            assert name not in found, name
            found[name] = group
    return found


def _of(module: str, names: str) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for name in names.split())


def _all(names: str) -> tuple[str, ...]:
    return tuple(names.split())


METRICS = (
    Group(
        "classification",
        _all(
            """
            Accuracy AveragePrecision ClassificationReport CohenKappa ConfusionMatrix
            DiceCoefficient Entropy Fbeta IoU JaccardIndex Loss MatthewsCorrCoef
            MeanAveragePrecision MultiLabelConfusionMatrix MutualInformation Precision
            PrecisionRecallCurve ROC_AUC Recall RocCurve TopKCategoricalAccuracy mIoU
            """
        ),
    ),
    Group(
        "regression",
        _all(
            """
            CanberraMetric FractionalAbsoluteError FractionalBias GeometricMeanAbsoluteError
            GeometricMeanRelativeAbsoluteError KendallRankCorrelation ManhattanDistance
            MaximumAbsoluteError MeanAbsoluteError MeanAbsoluteRelativeError MeanError
            MeanNormalizedBias MeanSquaredError MedianAbsoluteError MedianAbsolutePercentageError
            MedianRelativeAbsoluteError PearsonCorrelation R2Score RootMeanSquaredError
            SpearmanRankCorrelation WaveHedgesDistance
            """
        ),
    ),
    Group(
        "distances of features and distributions",
        _all(
            """
            CosineSimilarity HSIC JSDivergence KLDivergence MaximumMeanDiscrepancy
            MeanPairwiseDistance
            """
        ),
    ),
    Group("images", ("FID", "InceptionScore", "PSNR", "SSIM")),
    Group(
        "text",
        _all(
            """
            Bleu CharacterErrorRate MultiRefAverageReducer MultiRefBestReducer MultiRefReducer
            Perplexity Rouge RougeL RougeN Score
            """
        ),
    ),
    Group("clustering", ("CalinskiHarabaszScore", "DaviesBouldinScore", "SilhouetteScore")),
    Group("recommendation", ("HitRate", "NDCG")),
    Group(
        "fairness",
        _all(
            """
            DemographicParityDifference SelectionRate SubgroupAccuracyDifference
            SubgroupDifference SubgroupMetric
            """
        ),
    ),
    Group(
        "anything",
        _all(
            """
            Average EpochMetric Frequency GeometricAverage Metric MetricGroup MetricsLambda
            RunningAverage VariableAccumulation
            """
        ),
    ),
    Group(
        "when to measure",
        _all(
            """
            BatchFiltered BatchWise EpochWise MetricUsage RunningBatchWise RunningEpochWise
            SingleEpochRunningBatchWise
            """
        ),
    ),
    Group(
        "objects in images",
        _all(
            """
            CommonObjectDetectionMetrics ObjectDetectionAvgPrecisionRecall
            coco_tensor_list_to_dict_list
            """
        ),
        UNTRIED,
        "torchvision",
    ),
    Group("a GPU's load", ("GpuInfo",), UNTRIED, "pynvml"),
    Group("the network of FID, if given no other", ("InceptionModel",), NO_PART),
    Group("a warning", ("EpochMetricWarning",), NO_PART),
)

_OUTPUT = "OptimizerParamsHandler OutputHandler"
_SCALARS = f"GradsScalarHandler {_OUTPUT} WeightsScalarHandler"
_LAYERS = f"GradsHistHandler {_SCALARS} WeightsHistHandler"
_AS_IGNITE = "the engine is given as `as_ignite(engine)`"
_NO_STARTED = f"{_AS_IGNITE}; handlers of STARTED are not timed"
_ONLINE = "it needs a server, too"
_ALONE = "an evaluator alone is given as `as_ignite(evaluator)`; in a dict as it is"

HANDLERS = (
    Group(
        "saving",
        (
            *("Checkpoint", "DiskSaver", "ModelCheckpoint"),
            *_of("checkpoint", "BaseSaveHandler CheckpointEvents"),
        ),
    ),
    Group("averaged weights", ("EMAHandler", "ema_handler.EMAWarmUp")),
    Group("stopping", ("TerminateOnNan", "TimeLimit")),
    Group("stopping", ("EarlyStopping",), BRIDGED, why="`trainer=as_ignite(trainer)`"),
    Group("learning rate range test", ("FastaiLRFinder",)),
    Group(
        "schedules of an optimizer or a loader",
        _all(
            """
            BaseParamScheduler BatchSizeScheduler ConcatScheduler CosineAnnealingScheduler
            CyclicalScheduler LRScheduler LinearCyclicalScheduler ParamGroupScheduler
            ParamScheduler PiecewiseLinear ReduceLROnPlateauScheduler
            create_lr_scheduler_with_warmup
            """
        ),
    ),
    Group(
        "schedules of the state",
        _all(
            """
            ExpStateScheduler LambdaStateScheduler MultiStepStateScheduler
            PiecewiseLinearStateScheduler StateParamScheduler StepStateScheduler
            """
        ),
    ),
    Group("outputs, time and lines", ("EpochOutputStore", "FBResearchLogger", "Timer")),
    Group("progress bar", ("ProgressBar",), BRIDGED, why=_AS_IGNITE),
    Group("profilers", ("BasicTimeProfiler", "HandlersTimeProfiler"), BRIDGED, why=_NO_STARTED),
    Group(
        "several of these at once",
        _of(
            "common",
            """
            setup_common_training_handlers setup_common_distrib_training_handlers
            add_early_stopping_by_val_score
            """,
        ),
        BRIDGED,
        why="of `ignite.contrib.engines.common`; the trainer is given as `as_ignite(trainer)`",
    ),
    Group(
        "several of these at once",
        (
            *_of("common", "save_best_model_by_val_score gen_save_best_models_by_val_score"),
            "common.empty_cuda_cache",
        ),
        why="of `ignite.contrib.engines.common`",
    ),
    Group("withdrawn by pytorch-ignite", ("common.setup_any_logging",), NO_PART),
    Group(
        "loggers of one's own",
        (
            *_of("base_logger", "BaseHandler BaseLogger BaseOptimizerParamsHandler"),
            *_of("base_logger", "BaseOutputHandler BaseWeightsHandler BaseWeightsScalarHandler"),
            "global_step_from_engine",
        ),
    ),
    Group("TensorBoard", ("TensorboardLogger", *_of("tensorboard_logger", _LAYERS))),
    Group("TensorBoard", _of("logger_utils", "setup_tb_logging"), BRIDGED, why=_ALONE),
    Group("W&B", ("WandBLogger", *_of("wandb_logger", _OUTPUT)), needs="wandb"),
    Group("W&B", _of("logger_utils", "setup_wandb_logging"), BRIDGED, "wandb", _ALONE),
    Group("MLflow", ("MLflowLogger", *_of("mlflow_logger", _OUTPUT)), needs="mlflow"),
    Group("MLflow", _of("logger_utils", "setup_mlflow_logging"), BRIDGED, "mlflow", _ALONE),
    Group("ClearML", ("ClearMLLogger", *_of("clearml_logger", _LAYERS)), needs="clearml"),
    Group(
        "ClearML",
        _of("logger_utils", "setup_clearml_logging setup_trains_logging"),
        BRIDGED,
        "clearml",
        _ALONE,
    ),
    Group("Neptune", ("NeptuneLogger", *_of("neptune_logger", _SCALARS)), needs="neptune"),
    Group("Neptune", _of("logger_utils", "setup_neptune_logging"), BRIDGED, "neptune", _ALONE),
    Group("Polyaxon", ("PolyaxonLogger", *_of("polyaxon_logger", _OUTPUT)), needs="polyaxon"),
    Group("Polyaxon", _of("logger_utils", "setup_plx_logging"), BRIDGED, "polyaxon", _ALONE),
    Group("checkpoints in ClearML", ("clearml_logger.ClearMLSaver",), UNTRIED, "clearml", _ONLINE),
    Group("checkpoints in Neptune", ("neptune_logger.NeptuneSaver",), UNTRIED, "neptune", _ONLINE),
    Group(
        "Visdom",
        (
            "VisdomLogger",
            *_of("visdom_logger", _SCALARS),
            "logger_utils.setup_visdom_logging",
        ),
        UNTRIED,
        "visdom",
        _ONLINE,
    ),
)
