# Targets a user types: a stage, an experiment, or one figure of an experiment.
rule dictionaries:
    input:
        expand(f"{RESULTS}/dictionaries/{{cascade}}.nc", cascade=MEMBERS),


rule sweeps:
    input:
        sweep_files(),


rule signals:
    input:
        stage_files("signals"),


rule pursuits:
    input:
        stage_files("pursuits"),


rule metrics:
    input:
        stage_files("metrics"),
        expand(
            f"{RESULTS}/{{experiment}}/metrics/summary.nc",
            experiment=MEASURED,
        ),


rule certificates:
    input:
        [
            file
            for experiment in STUDY.experiments
            for file in certificate_files(experiment)
        ],


rule figures:
    input:
        [file for experiment in STUDY.experiments for file in figure_files(experiment)],


rule claims:
    input:
        claim_files(),


for experiment, options in STUDY.experiments.items():

    rule:
        name:
            experiment
        input:
            figure_files(experiment),

    for panel in options.figures:

        rule:
            name:
                f"{experiment}-{panel}"
            input:
                [file for file in figure_files(experiment) if f"-{panel}." in file],
