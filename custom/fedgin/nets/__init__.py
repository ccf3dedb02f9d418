"""Segmentation networks by name."""

from fedgin.nets.registry import NetworkSettings, build_network, network_names

__all__ = ["NetworkSettings", "build_network", "network_names"]
