rule draw_dictionaries:
    input:
        plugins=brought(STUDY.plugins),
        files=lambda wildcards: brought(PLAN.brought_files(wildcards.cascade)),
    output:
        # Snakemake caches no outputs but those of one name with several endings.
        multiext(
            f"{RESULTS}/dictionaries/{{cascade}}",
            dictionaries=".nc",
            digest=".nc.sha256",
        ),
    log:
        logged("dictionaries"),
    # Studies share dictionaries when Snakemake is given --cache; it then allows no benchmark, and the log has the times.
    cache: not IS_MODULE
    priority: priority_of("dictionaries")
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        **resources_of("dictionaries"),
    params:
        **params_of(
            "dictionaries",
            PLAN.dictionary_settings,
            plugins=STUDY.plugins,
            shared=True,
        ),
    script:
        script_of("dictionaries")
