# Targets that a user names: a stage, an experiment, or one figure of an experiment.


rule dictionaries:
    input:
        expand(dataset("dictionaries"), cascade=PLAN.members),


rule sweeps:
    input:
        of_all("sweeps"),


rule signals:
    input:
        of_all("signals"),


rule pursuits:
    input:
        of_all("pursuits"),


rule metrics:
    input:
        of_all("metrics"),
        of_all("summary"),


rule certificates:
    input:
        of_all("certificates"),


rule figures:
    input:
        [file for name in STUDY.experiments for file in PLAN.figure_files(name)],


rule claims:
    input:
        PLAN.claim_files(),


for experiment, options in STUDY.experiments.items():

    rule:
        name:
            experiment
        input:
            PLAN.figure_files(experiment),

    for panel in options.figures:

        rule:
            name:
                f"{experiment}-{panel}"
            input:
                PLAN.figure_files(experiment, panel),
