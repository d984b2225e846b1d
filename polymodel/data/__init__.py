"""Data: what training, evaluation and prediction take their samples from, and how these become batches."""

from polymodel.data.dataset import ArrayDataset, Dataset, Subset
from polymodel.data.folder import ImageFolder
from polymodel.data.idx import fashion_mnist, mnist, read_idx
from polymodel.data.loader import Loader
from polymodel.data.recordio import Record, RecordReader, RecordWriter, pack, unpack
from polymodel.data.records import RecordDataset, write_images
from polymodel.data.samples import Arrays, Data, Inputs, Samples, Targets, count_of, is_goal, split, take

__all__ = [
    "ArrayDataset", "Arrays", "Data", "Dataset", "ImageFolder", "Inputs", "Loader", "Record", "RecordDataset", "RecordReader",
    "RecordWriter", "Samples", "Subset", "Targets", "count_of", "fashion_mnist", "is_goal", "mnist", "pack", "read_idx", "split",
    "take", "unpack", "write_images",
]
