namespace Kms.Hsm;

/// <summary>The values of a generation's three keys, on their way from a ceremony or from shares into the token.</summary>
public sealed class RootKeyValues : IDisposable
{
    /// <summary>Takes the three over.</summary>
    /// <param name="wrap">32 bytes.</param>
    /// <param name="seal">32 bytes.</param>
    /// <param name="mac">32 bytes.</param>
    public RootKeyValues(SecretBytes wrap, SecretBytes seal, SecretBytes mac)
    {
        ArgumentNullException.ThrowIfNull(wrap);
        ArgumentNullException.ThrowIfNull(seal);
        ArgumentNullException.ThrowIfNull(mac);
        Wrap = wrap;
        Seal = seal;
        Mac = mac;
    }

#pragma warning disable IDISP008 // Made outside, they are this one's from then on.
    internal SecretBytes Wrap { get; }

    internal SecretBytes Seal { get; }

    internal SecretBytes Mac { get; }
#pragma warning restore IDISP008

    /// <summary>Zeroes the three.</summary>
    public void Dispose()
    {
#pragma warning disable IDISP007 // The constructor takes them over.
        Wrap.Dispose();
        Seal.Dispose();
        Mac.Dispose();
#pragma warning restore IDISP007
    }
}
