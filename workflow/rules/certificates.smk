rule certify_draws:
    input:
        dictionaries=f"{RESULTS}/dictionaries/{{cascade}}.nc",
        digests=digests("dictionaries/{cascade}.nc"),
        plugins=STUDY.plugins,
    output:
        certificates=f"{RESULTS}/{{experiment}}/certificates/{{cascade}}.nc",
        digest=f"{RESULTS}/{{experiment}}/certificates/{{cascade}}.nc.sha256",
    log:
        f"logs/{RESULTS}/certify_draws/{{experiment}}/{{cascade}}.log",
    benchmark:
        f"logs/{RESULTS}/certify_draws/{{experiment}}/{{cascade}}.tsv"
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        mem_mb=memory("certify_draws"),
        runtime=minutes("certify_draws"),
    params:
        settings=certificate_settings,
        library=library("certify_draws.py", plugins=STUDY.plugins),
        modules=modules("certify_draws.py", plugins=STUDY.plugins),
        results=results_folder,
    script:
        "../../scripts/certify_draws.py"
