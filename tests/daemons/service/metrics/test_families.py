from daemons.service.metrics.families import counter, each, each_of, gauge


def test_figures_stand_under_their_labels() -> None:
    family = counter(
        "answers", "Answers.", ["path", "reason"], each_of({"a": {"x": 1, "y": 2}, "b": {}, "c": {"x": 3}})
    )
    assert [(sample.name, tuple(sample.labels.values()), sample.value) for sample in family.samples] == [
        ("answers_total", ("a", "x"), 1),
        ("answers_total", ("a", "y"), 2),
        ("answers_total", ("c", "x"), 3),
    ]
    shown = gauge("up", "Whether it is up.", ["path"], each({"a": True}))
    assert [(sample.name, sample.labels, sample.value) for sample in shown.samples] == [("up", {"path": "a"}, 1)]


def test_without_figures_a_family_is_there_without_samples() -> None:
    assert not counter("answers", "Answers.", ["path"], each({})).samples


def test_a_figure_without_labels() -> None:
    assert [sample.value for sample in gauge("up", "Whether it is up.", [], [([], 1)]).samples] == [1]
