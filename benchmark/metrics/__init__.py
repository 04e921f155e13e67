"""Metrics: pure functions of features, logits and labels, and the extractors that make those from images."""

CATALOGUE = {  # id in a record: what it is; X is the extractor
    "fd_X": "Frechet distance between feature Gaussians: FID (X = inception), FD-lite0, FD-judge, ...; lower is better",
    "score_X": "Inception Score (X = inception) or the same formula on another classifier, CS-X; higher is better",
    "chamfer_X": "two-way mean squared distance to the nearest, unit-length features; lower is better",
    "chamfer_tsne_suite": "one-way sum in a joint 3-D t-SNE of encoder embeddings, PCA start; lower is better",
    "chamfer_tsne_paper": "the same with the t-SNE settings of InfoSCC-GAN's paper; lower is better",
    "control_accuracy_judge": "how often the harness's classifier sees what was asked for; higher is better",
    "control_accuracy_own": "the same by the classifier the generator was trained against; higher is better",
    "recall_0.2_judge": "InfoSCC-GAN's multi-label protocol: attribute forced on, sigmoid > 0.2; higher is better",
    "recall_0.2_own": "the same by the classifier the generator was trained against; higher is better",
    "label_agreement_judge": "conditioned on images: samples with the held-out image's label; higher is better",
    "instance_preference_X": "samples nearer to what they are to be like than to random images, 0.5 is chance; higher "
    "is better",
    "authenticity_X": "share of samples that are no copies of training images; higher is better",
    "modes_judge": "classes that the judge sees among the samples; higher is better",
    "reverse_kl_judge": "KL of their shares to uniform, nats; lower is better",
    "modes": "2-D points: modes with a sample of high quality; higher is better",
    "high_quality": "2-D points: share of samples within 3 standard deviations of a mode; higher is better",
    "reverse_kl": "2-D points: KL of the modes' shares to uniform, nats; lower is better",
    "aux_accuracy": "LT-GAN: how often its auxiliary network knows equal latent moves, 0.5 is chance; higher is better",
}
