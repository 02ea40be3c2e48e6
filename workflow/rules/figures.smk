for panel in configuration.PANELS:
    drawing = panel.replace("-", "_")

    rule:
        name:
            f"render_{drawing}"
        input:
            summary=f"{RESULTS}/{{experiment}}/metrics/summary.nc",
            metrics=metrics_files,
            dictionaries=dictionary_files,
            digests=drawn_digests,
        output:
            pdf=f"{RESULTS}/figures/{{experiment}}-{panel}.pdf",
            svg=f"{RESULTS}/figures/{{experiment}}-{panel}.svg",
            png=report(
                f"{RESULTS}/figures/{{experiment}}-{panel}.png",
                caption=f"../report/{panel}.rst",
                category=experiment_title,
                labels={"figure": panel, "kind": "chart"},
            ),
            csv=report(
                f"{RESULTS}/figures/{{experiment}}-{panel}.csv",
                caption=f"../report/{panel}.rst",
                category=experiment_title,
                labels={"figure": panel, "kind": "numbers"},
            ),
            metadata=f"{RESULTS}/figures/{{experiment}}-{panel}.csv-metadata.json",
        log:
            f"logs/{RESULTS}/render_{drawing}/{{experiment}}.log",
        benchmark:
            f"logs/{RESULTS}/render_{drawing}/{{experiment}}.tsv"
        conda:
            "../envs/dcsc.yaml"
        threads: 1
        resources:
            mem_mb=memory(f"render_{drawing}"),
            runtime=minutes(f"render_{drawing}"),
        params:
            settings=figure_settings,
            cascade_of_metrics=cascade_of_metrics,
            drawing=drawing,
            library=library("render_figure.py", drawing),
            sources=sources("render_figure.py", drawing),
            results=results_folder,
        script:
            "../../scripts/render_figure.py"
