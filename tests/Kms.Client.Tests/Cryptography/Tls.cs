using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace Kms.Client.Tests.Cryptography;

/// <summary>A server and a client, both of .NET, that shake hands and speak.</summary>
internal static class Tls
{
    /// <summary>What a client hears from a server over TLS; the client checks the certificate and the handshake's signature.</summary>
    public static async Task<string> TalkAsync(
        X509Certificate2 server, X509Certificate2 trusted, SslProtocols protocol, CancellationToken stop)
    {
        using var listener = new TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        using var calling = new TcpClient();
        ValueTask connecting = calling.ConnectAsync((System.Net.IPEndPoint)listener.LocalEndpoint, stop);
        using TcpClient called = await listener.AcceptTcpClientAsync(stop);
        await connecting;
        await using var there = new SslStream(called.GetStream());
        await using var here = new SslStream(calling.GetStream());
        Task serving = ServeAsync();
        await here.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions
            {
                TargetHost = "kms.test",
                EnabledSslProtocols = protocol,
                CertificateChainPolicy = new X509ChainPolicy
                {
                    TrustMode = X509ChainTrustMode.CustomRootTrust,
                    CustomTrustStore = { trusted },
                    RevocationMode = X509RevocationMode.NoCheck,
                },
            },
            stop);
        byte[] heard = new byte[5];
        await here.ReadExactlyAsync(heard, stop);
        await serving;
        return System.Text.Encoding.ASCII.GetString(heard);

        async Task ServeAsync()
        {
            try
            {
                await there.AuthenticateAsServerAsync(
                    new SslServerAuthenticationOptions
                    {
                        ServerCertificate = server,
                        EnabledSslProtocols = protocol,
                        AllowTlsResume = false, // A resumed session has no new signature.
                    },
                    stop);
                await there.WriteAsync("hello"u8.ToArray(), stop);
                await there.FlushAsync(stop);
            }
            catch
            {
                called.Close(); // Else the client would wait for ever.
                throw;
            }
        }
    }
}
