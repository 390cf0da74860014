"""Amodio & Krishnaswamy 2019 on mel spectrograms: a generator between two sets of sounds, played at once."""

from engine.recipe import YES_NO, Choice, Cost, Recipe, Whole

RECIPE = Recipe(
    name="travelgan",
    title="A generator trained between two sets of sounds",
    source="Amodio & Krishnaswamy 2019, 'TraVeLGAN'; Pasini 2019, 'MelGAN-VC'",
    use="many stems of one kind, into a sound there are many recordings of: trained for hours, played in no time",
    params={
        "pieces": Whole(3, 2, 3, "pieces of 2 s that a crop was cut into: thirds as tabled, halves as told"),
        "filters": Whole(256, 4, 1024, "filters of the generator's layers"),
        "overlap": Choice(True, YES_NO, "pieces overlap by half and fade; false: end to end, as published"),
    },
    module="engine.methods.travelgan",
    words=(
        "representation: 128 mel bands in dB, pieces of 86 frames",
        "features: generator, a U-Net along time",
        "training: hinge + TraVeL + margin + identity",
        "rendering: gain on the stem's own spectrum (−24 to 18 dB)",
    ),
    equations="½ (relu(1 − D(b)) + relu(1 + D(G(a)))); mean (t − t')² − cos(t, t') with t = S(a₁) − S(a₃); "
    "relu(2 − |t|)²; ½ |b − G(b)|",
    figure="generator 2,856,705 numbers, siamese 1,838,976, critic 4,425,218; no quality is claimed at its source",
    cost=Cost(second_s=0.01, more=", once it is trained"),
    trained=True,
)
