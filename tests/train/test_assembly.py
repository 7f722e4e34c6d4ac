"""Model tensors from fitted parts, and back."""

import numpy as np

from helpers.paths import REPOSITORY
from vqcodec.train import assembly, codebooks
from vqcodec.transform.layouts import LATENT_UNIT
from vqcodec.weights.exact import ExactModel

LITE = REPOSITORY / "models" / "photo-lite"


def test_codebooks_are_recounted_by_rank_and_pulled_to_earlier_counts() -> None:
    before = [codebooks.TrainedCodebook(np.zeros((1, 3), np.float32), np.array([1.0, 0, 3]), False)]
    files = [[(0, np.array([0, 0, 1], np.uint8))], [(0, np.array([0], np.uint8))]]
    (found,) = assembly.recount(before, [np.array([2, 0, 1])], files, 8.0)
    assert found.counts.tolist() == [1 + 2, 0, 3 + 6]


def test_codebooks_of_a_base_model_keep_their_probabilities() -> None:
    model = ExactModel.load(LITE)
    for book, trained in zip(model.codebooks, assembly.codebooks_of(model), strict=True):
        np.testing.assert_allclose(np.sort(trained.counts)[::-1], np.sort(np.exp2(-book.bits.astype(float)))[::-1])
        assert trained.escape == (book.dim > 1)
        assert not trained.codewords[:, 0].any() or book.dim == 1
        likeliest = trained.codewords[:, trained.counts.argmax()] * LATENT_UNIT
        assert (likeliest == book.codewords[:, book.bits.argmin()]).all() or (book.bits == book.bits.min()).sum() > 1


def test_a_draft_has_the_predictors_and_networks_of_its_model() -> None:
    model = ExactModel.load(REPOSITORY / "models" / "photo")
    tensors = assembly.predictor_tensors(assembly.Draft.of_model(model))
    networks = {name for name in model.tensors if name.startswith(("context.", "synthesis.", "synthesis_ssim."))}
    assert len({name.split(".")[0] for name in networks}) == 3
    assert networks < tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, model.tensors[name], err_msg=name)


def test_a_model_of_unfitted_predictors_has_one_stream_and_all_codebooks() -> None:
    model = ExactModel.load(LITE)
    found = assembly.assemble(assembly.Draft.start(None), assembly.codebooks_of(model))
    assert found.model.tensors["merge.maps"].shape == (1, len(model.codebooks))
    assert found.codebook_sizes.tolist() == [book.size for book in model.codebooks]
    assert [sorted(order) for order in found.orders] == [list(range(book.size)) for book in model.codebooks]
