"""Floor 3: whose idea each method is, as BibTeX. Fields that we are not sure of are left out."""

FOUNDATION = "guo2021metacorrection"
"""What this toolkit is built on; cited with every method."""

CITATIONS: dict[str, tuple[str, ...]] = {
    "source-only": (FOUNDATION,),
    "self-training": ("zou2018cbst", "zou2019crst"),
    "threshold": ("zou2018cbst",),
    "cbst": ("zou2018cbst",),
    "mrent": ("zou2019crst",),
    "lrent": ("zou2019crst",),
    "mrkld": ("zou2019crst",),
    "entropy": ("vu2019advent",),
    "maxsquare": ("chen2019maxsquare",),
    "uncertainty": ("zheng2021rectifying",),
    "adaptsegnet": ("tsai2018adaptsegnet",),
    "dmlc": (FOUNDATION,),
    "metacorrection": (FOUNDATION,),
    "metacorrection-balanced": (FOUNDATION, "zou2018cbst"),
}
"""Method to keys in :data:`BIBTEX`, which several may share; a baseline without a source cites the paper it is in."""

BIBTEX: dict[str, str] = {
    FOUNDATION: """@inproceedings{guo2021metacorrection,
  author    = {Guo, Xiaoqing and Yang, Chen and Li, Baopu and Yuan, Yixuan},
  title     = {{MetaCorrection}: Domain-aware Meta Loss Correction for Unsupervised Domain Adaptation in Semantic
               Segmentation},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2021},
}""",
    "tsai2018adaptsegnet": """@inproceedings{tsai2018adaptsegnet,
  author    = {Tsai, Yi-Hsuan and Hung, Wei-Chih and Schulter, Samuel and Sohn, Kihyuk and Yang, Ming-Hsuan and
               Chandraker, Manmohan},
  title     = {Learning to Adapt Structured Output Space for Semantic Segmentation},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2018},
}""",
    "zou2018cbst": """@inproceedings{zou2018cbst,
  author    = {Zou, Yang and Yu, Zhiding and Kumar, B. V. K. Vijaya and Wang, Jinsong},
  title     = {Unsupervised Domain Adaptation for Semantic Segmentation via Class-Balanced Self-Training},
  booktitle = {Proceedings of the European Conference on Computer Vision (ECCV)},
  year      = {2018},
}""",
    "zou2019crst": """@inproceedings{zou2019crst,
  author    = {Zou, Yang and Yu, Zhiding and Liu, Xiaofeng and Kumar, B. V. K. Vijaya and Wang, Jinsong},
  title     = {Confidence Regularized Self-Training},
  booktitle = {Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2019},
}""",
    "chen2019maxsquare": """@inproceedings{chen2019maxsquare,
  author    = {Chen, Minghao and Xue, Hongyang and Cai, Deng},
  title     = {Domain Adaptation for Semantic Segmentation with Maximum Squares Loss},
  booktitle = {Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2019},
}""",
    "vu2019advent": """@inproceedings{vu2019advent,
  author    = {Vu, Tuan-Hung and Jain, Himalaya and Bucher, Maxime and Cord, Matthieu and P{\\'e}rez, Patrick},
  title     = {{ADVENT}: Adversarial Entropy Minimization for Domain Adaptation in Semantic Segmentation},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2019},
}""",
    "zheng2021rectifying": """@article{zheng2021rectifying,
  author  = {Zheng, Zhedong and Yang, Yi},
  title   = {Rectifying Pseudo Label Learning via Uncertainty Estimation for Domain Adaptive Semantic Segmentation},
  journal = {International Journal of Computer Vision},
  year    = {2021},
}""",
}
"""Key to entry."""
