"""The offline bundle 离线安装包: all a node needs, made where there is a network, installed where there is none."""
